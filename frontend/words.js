// What the page says about a task. No document and no network here: a status goes in, words come out.

export const FINAL = ["succeeded", "failed", "cancelled"];
export const HEADLINES = {
  queued: "Queued",
  running: "Sending",
  retrying: "Will be tried again",
  succeeded: "Accepted by the mail server",
  failed: "Failed",
  cancelled: "Cancelled",
};
export const BADGES = { succeeded: "Accepted", failed: "Failed", cancelled: "Cancelled", unknown: "Not found" };

export function duration(seconds) {
  if (seconds < 9.95) return `${Number.isInteger(seconds) ? seconds : Math.max(seconds, 0).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function clock(time) {
  const moment = new Date(time);
  const today = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(undefined, today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
}

/** The server's own words about the last attempt. */
export const why = (task) => task.error?.message ?? "";

// The API's words for these speak to programs ("as long as Retry-After says"); the button counts that time down.
export const REFUSALS = {
  too_many_requests: "Too many tasks came from your network within a minute.",
  recipient_limit_reached: "This address was sent as many mails as one may get within an hour.",
};

export const WELCOME = [
  ["todo", "Queued", "Your task is stored before you get an answer."],
  ["todo", "Sending", "A worker hands it to the mail server. If that fails, it is tried again."],
  ["todo", HEADLINES.succeeded, "From there on, delivery is up to the recipient’s mail provider."],
];

/** The three steps as [state, title, detail]; a state is todo, now, again, done, skipped, failed or cancelled. */
export function stepsOf(task, untilMs) {
  const stored = `Stored at ${clock(task.created_at)}.`;
  const ended = task.finished_at ? `At ${clock(task.finished_at)}. ` : "";
  const tries = `${task.attempts} ${task.attempts === 1 ? "attempt" : "attempts"}.`;
  const tried = [task.attempts ? "done" : "skipped", "Sending", tries];
  const queued = ["done", "Queued", stored];
  const ahead = ["todo", HEADLINES.succeeded, ""];
  switch (task.status) {
    case "queued":
      return [["now", "Queued", `${stored} Waiting for a worker.`], ["todo", "Sending", ""], ahead];
    case "running":
      return [queued, ["now", "Sending", `Attempt ${task.attempts}: a worker hands it to the mail server.`], ahead];
    case "retrying": {
      const seconds = Math.ceil(untilMs(task.next_run_at) / 1000);
      const when = seconds > 0 ? `in ${duration(seconds)}, at ${clock(task.next_run_at)}` : "is due now";
      return [queued, ["again", HEADLINES.retrying, `Attempt ${task.attempts + 1} ${when}. ${why(task)}`], ahead];
    }
    case "succeeded": {
      const detail = `${ended}Whether it reaches the inbox is now up to the recipient’s mail provider.`;
      return [queued, tried, ["done", HEADLINES.succeeded, detail]];
    }
    case "failed":
      return [queued, tried, ["failed", HEADLINES.failed, `${ended}${why(task)}`]];
    default:
      return [queued, tried, ["cancelled", HEADLINES.cancelled, `${ended}It will not be tried again.`]];
  }
}
