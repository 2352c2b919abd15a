"""Drift in AWS: each thing that somebody changed, and none when that is done again.

The hosts' half of playbooks/check-drift.yml is seen in molecule/aws/drift.yml; here tags leave it out.
"""

from tests.aws.by_hand import BY_HAND
from tests.aws.cloud import BUCKET, EMPTY_REGION, Cloud, Step


def test_an_environment_that_nobody_made_here_is_not_looked_at(cloud: Cloud) -> None:
    run = cloud.look(app_stack_aws_region=EMPTY_REGION)
    assert run.status == 0, run.output
    assert "was made by provision-aws.yml for steadfast-production: AWS is not looked at" in run.words
    provisioning = run.output.partition("PLAY [Make or mend the environment in AWS]")[2]
    assert "skipping: [localhost]" in provisioning
    assert "ok: [localhost]" not in provisioning
    assert "changed: [localhost]" not in provisioning


def test_each_change_by_hand_is_named(drifted: Step) -> None:
    said = drifted.run.output.rpartition("\nDRIFT ***")[2]
    missing = [task for task in BY_HAND if f"  {task}\n" not in said]
    assert missing == [], said
    assert f"Drifted: {len(BY_HAND)} differences" in said
    assert f"The bucket {BUCKET} differs in: versioning, public access, policy, days" in said
    assert drifted.run.status == 3


def test_a_look_mends_nothing(drifted: Step) -> None:
    assert drifted.after == drifted.before


def test_what_was_just_provisioned_is_clean(mended: Step) -> None:
    assert mended.run.status == 0, mended.run.output
    assert "Clean: none of " in mended.run.output
    assert mended.after == mended.before


def test_an_aws_that_does_not_answer_is_not_clean(cloud: Cloud) -> None:
    nobody = {"endpoint_url": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"}
    run = cloud.look(app_stack_aws_connection=nobody)
    assert run.status == 2, run.output
    assert "Could not look at everything" in run.output
