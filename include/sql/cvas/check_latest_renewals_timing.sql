-- How long finding the latest renewals takes (R61); who they are of is not asked (R5).
-- Grain: one row per renewal, ten. Reads: reno. Writes: nothing. Params: none. Re-run: read only.
SELECT
    trans_date,
    subscription_id,
    cpc,
    rev
FROM reno
ORDER BY trans_date DESC NULLS LAST
LIMIT 10
