"""How fast the data jobs are, as ratios: against the tool's limit and against the way they are usually written.

``measure`` times ways to do one job, ``report`` prints them and judges the goals; one module per system says what is
measured at which volume and what the goals are. ``latency`` measures the way from an operator's command to the result
in a running Airflow. Everything runs on the sandbox's data; see ``python -m benchmarks --help``.
"""
