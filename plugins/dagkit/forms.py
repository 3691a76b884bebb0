"""The fields that the trigger forms of several DAGs share; empty or off unless a person says otherwise."""

from airflow.sdk import Param


def date_param(title: str = "Business day", description: str = "A local day. Empty: the day of this run.") -> Param:
    """A day; as ``date`` it is the one the run is about."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def range_params() -> dict[str, Param]:
    """One day, or all days from one to another."""
    return {"date": date_param(), **bounds_params("First day of a range.", "Its last day, included.")}


def bounds_params(first: str, last: str) -> dict[str, Param]:
    """Two days, with what is said about each."""
    return {"start_date": date_param("From", first), "end_date": date_param("To", last)}


def names_param(title: str, names: str) -> Param:
    """Some of ``names``, which are separated by commas, or all of them."""
    return Param("all", type="string", title=title, description=f"all, or some of: {names}")


def backup_param(example: str) -> Param:
    """A backup by its name, which looks like ``example``."""
    return Param(
        None,
        type=["null", "string"],
        title="Backup",
        description=f"Name as in the store: {example}. Empty: the newest.",
    )


def flag_param(title: str, description: str | None = None, *, on: bool = False) -> Param:
    """Yes or no. To confirm something, too: the form hides a field with ``const=True``, and nobody could trigger."""
    return Param(on, type="boolean", title=title, description=description)
