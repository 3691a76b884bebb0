"""When a DAG starts is configuration (cvas section 7: schedule per stage, effective without code edit)."""

import re
from pathlib import Path

import pytest
from dagkit.docs import schedule_of
from dagkit.policies import cron

REPOSITORY = Path(__file__).resolve().parents[2]


def load(dag_id):
    """One DAG file as the DAG processor reads it: the DAG, or the text of its import error."""
    from airflow.dag_processing.dagbag import DagBag

    (file,) = (REPOSITORY / "dags").glob(f"*/{dag_id}.py")
    bag = DagBag(dag_folder=str(file))
    return bag.dags.get(dag_id) or "".join(bag.import_errors.values())


@pytest.mark.parametrize(
    ("dag_id", "given", "starts"),
    [
        ("cvas_user_base", "35 7 * * 1-5", "`35 7 * * 1-5` Europe/Madrid"),
        ("commercial_log_import", " 30 3 * * * ", "`30 3 * * *` America/Los_Angeles, up to 0:05:00 later"),
        (
            "cvas_deadlines",
            "25 9 * * *;30 12 * * *; 0 14 * * *",
            "`25 9 * * *`, `30 12 * * *`, `0 14 * * *` Europe/Madrid",
        ),
        ("cvas_user_base", "", "`5 8 * * *` Europe/Madrid"),
    ],
)
def test_the_environment_says_when_a_dag_starts(monkeypatch, dag_id, given, starts):
    monkeypatch.setenv(f"AIRFLOW_SCHEDULE_{dag_id.upper()}", given)
    assert schedule_of(load(dag_id)) == starts


@pytest.mark.parametrize("given", ["8:05", "5 25 * * *", "5 8 * * *; 5 9 * * *"])
def test_what_is_no_schedule_is_an_import_error_that_names_the_variable(monkeypatch, given):
    monkeypatch.setenv("AIRFLOW_SCHEDULE_CVAS_USER_BASE", given)
    error = load("cvas_user_base")
    assert f"AIRFLOW_SCHEDULE_CVAS_USER_BASE='{given}' is no schedule like '5 8 * * *': correct or remove it." in error


def test_a_dag_with_several_schedules_needs_all_of_them(monkeypatch):
    monkeypatch.setenv("AIRFLOW_SCHEDULE_CVAS_DEADLINES", "0 13 * * *")
    with pytest.raises(ValueError, match="AIRFLOW_SCHEDULE_CVAS_DEADLINES"):
        cron("cvas_deadlines", "25 8 * * *; 30 11 * * *; 0 13 * * *")


def test_every_dag_with_a_time_of_its_own_can_be_told_another(dags):
    """A cron expression in a DAG file always stands in ``policies.cron`` with the file's own name."""
    for dag in dags.values():
        text = Path(dag.fileloc).read_text()
        named = re.findall(r'policies\.cron\("(\w+)", ', text)
        timed = "DailyPartitionTimetable(" in text or "CronTriggerTimetable(" in text
        assert named == ([dag.dag_id] if timed else []), dag.dag_id


def test_the_document_tells_the_variable():
    assert "AIRFLOW_SCHEDULE_<DAG_ID>" in (REPOSITORY / "docs" / "production.md").read_text()
