-- What wrk sends, and how it reports. PORTS: each thread uses one of them in turn.
-- MARK: POST /notify/, each to another address, which begins with it. IDS: a file of ids; GET /task_status/<id>, in turn.
local ports = {}
for port in os.getenv("PORTS"):gmatch("%d+") do ports[#ports + 1] = port end
local mark, file = os.getenv("MARK"), os.getenv("IDS")
local threads, count = 0, 0

function setup(thread)
  thread.addr = wrk.lookup("127.0.0.1", ports[threads % #ports + 1])[1]
  thread:set("number", threads)
  threads = threads + 1
end

local gets = {}
if file then
  for id in io.lines(file) do gets[#gets + 1] = "GET /task_status/" .. id .. " HTTP/1.1\r\nHost: localhost\r\n\r\n" end
end
local head = "POST /notify/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "

function request()
  count = count + 1
  if file then return gets[count % #gets + 1] end
  local body = string.format(
    '{"email": "%s.%d.%d@example.com", "message": "Your report is ready."}', mark, number, count)
  return head .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('\n{"requests": %d, "seconds": %f, "errors": %d, "p50_ms": %f, "p99_ms": %f}',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
