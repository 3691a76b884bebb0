"""The subscription view as it is usually written: a window over all events for every "first" and "last"."""

from __future__ import annotations

from datetime import date
from pathlib import Path

STATEMENT = """
WITH events AS (
    SELECT *, 0 AS type_rank FROM act
    UNION ALL
    SELECT *, 1 AS type_rank FROM reno
),
first_events AS (
    SELECT * FROM events
    QUALIFY row_number() OVER (
        PARTITION BY subscription_id
        ORDER BY trans_date, type_rank, cpc, rev, channel_act, camp_name, act_date, tmuserid, msisdn
    ) = 1
),
last_events AS (
    SELECT subscription_id, cpc, trans_date FROM events
    QUALIFY row_number() OVER (
        PARTITION BY subscription_id ORDER BY trans_date DESC NULLS LAST, type_rank DESC, cpc DESC NULLS FIRST
    ) = 1
),
first_of_cpc AS (
    SELECT subscription_id, cpc, trans_date, type_rank FROM events
    WHERE cpc IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY subscription_id, cpc ORDER BY trans_date, type_rank) = 1
),
cpcs AS (
    SELECT subscription_id, list(cpc ORDER BY trans_date, type_rank, cpc) AS cpc_list
    FROM first_of_cpc GROUP BY subscription_id
),
first_acts AS (
    SELECT subscription_id, trans_date, rev FROM act
    QUALIFY row_number() OVER (PARTITION BY subscription_id ORDER BY trans_date, cpc, rev) = 1
),
last_acts AS (
    SELECT subscription_id, trans_date, cpc, rev FROM act
    QUALIFY row_number() OVER (
        PARTITION BY subscription_id ORDER BY trans_date DESC NULLS LAST, cpc DESC NULLS FIRST, rev DESC NULLS FIRST
    ) = 1
),
last_upgrades AS (
    SELECT subscription_id, trans_date, cpc FROM act
    WHERE channel_act = 'UPGRADE'
    QUALIFY row_number() OVER (
        PARTITION BY subscription_id ORDER BY trans_date DESC NULLS LAST, cpc DESC NULLS FIRST
    ) = 1
),
last_renewals AS (
    SELECT subscription_id, trans_date FROM reno
    QUALIFY row_number() OVER (PARTITION BY subscription_id ORDER BY trans_date DESC NULLS LAST) = 1
),
deactivations AS (
    SELECT subscription_id, trans_date, channel_dct FROM dct
    WHERE channel_dct <> 'UPGRADE'
    QUALIFY row_number() OVER (PARTITION BY subscription_id ORDER BY trans_date DESC, channel_dct DESC) = 1
),
cancellations AS (
    SELECT sbn_id AS subscription_id, cancel_date, mode FROM cnr
    QUALIFY row_number() OVER (PARTITION BY sbn_id ORDER BY cancel_date DESC, mode DESC NULLS LAST) = 1
),
acts AS (
    SELECT
        subscription_id,
        count(*) FILTER (WHERE channel_act = 'UPGRADE') AS upgrades,
        sum(rev::DECIMAL(18, 6)) FILTER (WHERE channel_act = 'UPGRADE') AS upgrade_revenue,
        sum(rev::DECIMAL(18, 6)) AS revenue
    FROM act GROUP BY subscription_id
),
renewals AS (
    SELECT subscription_id, count(*) AS n, sum(rev::DECIMAL(18, 6)) AS revenue, min(trans_date) AS first_date
    FROM reno GROUP BY subscription_id
),
refunds AS (
    SELECT
        sbnid AS subscription_id, count(*) AS n, sum(rfnd_amount::DECIMAL(18, 6)) AS amount,
        sum(abs(rfnd_amount::DECIMAL(18, 6))) AS lost, sum(rfnd_cnt) AS events, max(refnd_date) AS last_date
    FROM rfnd GROUP BY sbnid
)
SELECT
    f.subscription_id,
    f.tmuserid,
    f.msisdn,
    coalesce(cpcs.cpc_list, []) AS cpc_list,
    coalesce(len(cpcs.cpc_list), 0)::BIGINT AS cpc_count,
    f.cpc AS first_cpc,
    l.cpc AS current_cpc,
    coalesce(len(cpcs.cpc_list), 0) > 1 AS has_upgraded,
    la.trans_date AS upgrade_date,
    la.cpc AS upgraded_to_cpc,
    f.act_date AS activation_date,
    CASE WHEN fa.subscription_id IS NULL THEN f.trans_date ELSE fa.trans_date END AS activation_trans_date,
    fa.subscription_id IS NULL AS missing_act_record,
    f.camp_name AS activation_campaign,
    f.channel_act AS activation_channel,
    coalesce(fa.rev, 0)::DOUBLE AS activation_revenue,
    strftime(f.trans_date, '%Y-%m') AS activation_month,
    coalesce(r.n, 0)::BIGINT AS renewal_count,
    coalesce(r.revenue, 0)::DOUBLE AS renewal_revenue,
    lr.trans_date AS last_renewal_date,
    r.first_date AS first_renewal_date,
    coalesce(lr.trans_date, f.act_date) AS last_activity_date,
    d.trans_date AS deactivation_date,
    d.channel_dct AS deactivation_mode,
    c.cancel_date AS cancellation_date,
    c.mode AS cancellation_mode,
    coalesce(rf.n, 0)::BIGINT AS refund_count,
    coalesce(rf.amount, 0)::DOUBLE AS total_refunded,
    rf.last_date AS last_refund_date,
    (coalesce(fa.rev::DECIMAL(18, 6), 0) + coalesce(r.revenue, 0))::DOUBLE AS total_revenue,
    (
        coalesce(fa.rev::DECIMAL(18, 6), 0) + coalesce(r.revenue, 0) + coalesce(la.rev::DECIMAL(18, 6), 0)
    )::DOUBLE AS total_revenue_with_upgrade,
    CASE
        WHEN c.cancel_date IS NOT NULL THEN 'Cancelled' WHEN d.trans_date IS NOT NULL THEN 'Deactivated' ELSE 'Active'
    END AS subscription_status,
    date_diff('day', f.act_date, coalesce(c.cancel_date, d.trans_date, $as_of::TIMESTAMP)) AS lifetime_days,
    coalesce(c.cancel_date, d.trans_date) AS end_date,
    coalesce(a.upgrades, 0)::BIGINT AS upgrade_count,
    u.trans_date AS last_upgrade_date,
    u.cpc AS last_upgrade_cpc,
    coalesce(a.upgrade_revenue, 0)::DOUBLE AS upgrade_revenue,
    (coalesce(a.revenue, 0) + coalesce(r.revenue, 0))::DOUBLE AS gross_revenue,
    coalesce(rf.events, 0)::BIGINT AS refund_events,
    (coalesce(a.revenue, 0) + coalesce(r.revenue, 0) - coalesce(rf.lost, 0))::DOUBLE AS net_revenue,
    'UNKNOWN' AS service_name,
    '' AS tme_category,
    NULL::BIGINT AS cpc_user_base,
    coalesce(l.trans_date > coalesce(c.cancel_date, d.trans_date), FALSE) AS active_after_end
FROM first_events AS f
LEFT JOIN last_events AS l USING (subscription_id)
LEFT JOIN cpcs USING (subscription_id)
LEFT JOIN first_acts AS fa USING (subscription_id)
LEFT JOIN last_acts AS la USING (subscription_id)
LEFT JOIN last_upgrades AS u USING (subscription_id)
LEFT JOIN last_renewals AS lr USING (subscription_id)
LEFT JOIN acts AS a USING (subscription_id)
LEFT JOIN renewals AS r USING (subscription_id)
LEFT JOIN deactivations AS d USING (subscription_id)
LEFT JOIN cancellations AS c USING (subscription_id)
LEFT JOIN refunds AS rf USING (subscription_id)
ORDER BY f.subscription_id
"""


def nine_windows(transactions: Path, spill: Path, target: Path, as_of: date) -> None:
    """All 45 columns (without a catalogue) of a lake in which every event has a date and a subscription."""
    import duckdb

    with duckdb.connect(config={"temp_directory": str(spill)}) as engine:
        for kind in ("act", "reno", "dct", "cnr", "rfnd"):
            files = f"{transactions / kind}/*/*.parquet"
            engine.read_parquet(files, hive_partitioning=False).create_view(kind)
        copy = f"COPY ({STATEMENT}) TO $file (FORMAT parquet, COMPRESSION snappy)"
        engine.execute(copy, {"file": str(target), "as_of": as_of})
