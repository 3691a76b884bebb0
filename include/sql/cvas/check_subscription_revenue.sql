-- What the subscriptions of the view earned, all together and on average (R62), in euro.
-- Grain: one row. Reads: subscriptions (the view). Writes: nothing. Params: none. Re-run: read only.
SELECT
    round(sum(activation_revenue), 2) AS activation_revenue,
    round(sum(renewal_revenue), 2) AS renewal_revenue,
    round(sum(total_revenue), 2) AS total_revenue,
    round(sum(total_revenue_with_upgrade), 2) AS total_revenue_with_upgrade,
    round(sum(gross_revenue), 2) AS gross_revenue,
    round(sum(total_refunded), 2) AS total_refunded,
    round(sum(net_revenue), 2) AS net_revenue,
    round(avg(total_revenue), 2) AS average_total_revenue,
    round(avg(net_revenue), 2) AS average_net_revenue,
    round(avg(renewal_count), 2) AS average_renewals,
    round(avg(lifetime_days), 1) AS average_lifetime_days
FROM subscriptions
