"""Subscriptions of a telecom's paid content: one day of transactions at a time becomes one row per subscription.

snapshots   the reporting host's list of users -> ``User_Base/NBS_BASE/YYYYMMDD_NBS_Base.csv``, kept for good
user_base   all snapshots -> users per service, category and price point of every day
fetch       six types of transactions of a day, out of PostgreSQL through SSH -> ``Daily_Data/D/<TYPE>.csv``
load        the six files -> the lake's monthly partitions, the day replaced, all types or none
view        the lake -> ``subscriptions.parquet``, one row per subscription
counters    the lake -> counts and money per day and price point, KPIs per service
mastercpc   what a price point (CPC) is: service, category, period, price
checks      gaps, duplicates, types, users, the view against a rebuild
"""
