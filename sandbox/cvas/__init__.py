"""The telecom behind cvas: who subscribes to what, and everything the system reads of it.

``generator.Telecom`` is the world; ``source`` puts it into a PostgreSQL, ``snapshots`` and ``catalogue`` write the
small files, ``dirty`` spoils daily files, ``expected`` works out what has to come out, ``estate.Cvas`` runs all of it.
"""
