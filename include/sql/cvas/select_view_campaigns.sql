-- The campaigns whose subscriptions brought most (R51). Grain: one row per campaign, the best first.
-- Reads: subscriptions (the view). Writes: nothing. Params: $top (how many). Re-run: read only.
SELECT
    activation_campaign AS campaign,
    count(*) AS subscriptions,
    sum(total_revenue::DECIMAL(18, 6))::DOUBLE AS revenue,
    round(avg(lifetime_days), 2) AS average_lifetime
FROM subscriptions
WHERE activation_campaign IS NOT NULL
GROUP BY activation_campaign
ORDER BY revenue DESC, campaign ASC
LIMIT $top
