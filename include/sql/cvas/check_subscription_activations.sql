-- Subscriptions by the month of their first event (R62); revenue is that of the activation, in euro.
-- Grain: one row per month. Reads: subscriptions (the view). Writes: nothing.
-- Params: $first_month (YYYY-MM). Re-run: read only.
SELECT
    activation_month AS month,
    count(*) AS subscriptions,
    round(sum(activation_revenue), 2) AS revenue,
    count(DISTINCT tmuserid) AS users,
    count(DISTINCT first_cpc) AS first_cpcs
FROM subscriptions
WHERE activation_month >= $first_month
GROUP BY activation_month
ORDER BY activation_month
