-- What a new view says and what the lake says about the same (R50); events without a subscription are left out.
-- Grain: one row. Writes: nothing. Params: none. Re-run: read only.
-- Reads: built, the new file; act; changed_reno, the renewals of the months that have changed since they were last
-- compared with a view.
WITH view_side AS (
    SELECT
        count(*) AS subscriptions,
        count(DISTINCT subscription_id) AS ids,
        count(*) FILTER (WHERE NOT missing_act_record) AS activated,
        coalesce(sum(renewal_count), 0)::BIGINT AS renewals,
        coalesce(sum(renewal_revenue::DECIMAL(18, 6)), 0) AS revenue,
        count(*) FILTER (
            WHERE coalesce(subscription_status, '') NOT IN ('Active', 'Cancelled', 'Deactivated')
        ) AS other_statuses,
        count(*) FILTER (WHERE missing_act_record AND renewal_count = 0) AS without_event
    FROM built
),

activations AS (
    SELECT count(DISTINCT subscription_id) AS expected_activated
    FROM act
),

strangers AS (
    SELECT count(*) AS not_in_view
    FROM (
        SELECT subscription_id FROM act
        UNION ALL
        SELECT subscription_id FROM changed_reno
    ) AS events
    ANTI JOIN built USING (subscription_id)
    WHERE subscription_id IS NOT NULL
)

SELECT *
FROM view_side
CROSS JOIN activations
CROSS JOIN strangers
