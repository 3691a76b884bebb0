-- What should not be, or is worth knowing, about the subscriptions of the view (R62).
-- Grain: one row. Reads: subscriptions (the view). Writes: nothing. Params: none. Re-run: read only.
SELECT
    count(*) AS subscriptions,
    count(DISTINCT subscription_id) AS distinct_ids,
    count(subscription_id) - count(DISTINCT subscription_id) AS duplicate_ids,
    count(*) - count(subscription_id) AS null_ids,
    count(*) FILTER (WHERE missing_act_record) AS missing_act_record,
    count(*) FILTER (WHERE activation_date IS NULL) AS null_activation,
    count(*) FILTER (WHERE has_upgraded) AS upgraded,
    count(*) FILTER (WHERE renewal_count > 0) AS with_renewals,
    count(*) FILTER (WHERE refund_count > 0) AS with_refunds,
    count(*) FILTER (WHERE lifetime_days < 0) AS negative_lifetime,
    count(*) FILTER (WHERE active_after_end) AS active_after_end
FROM subscriptions
