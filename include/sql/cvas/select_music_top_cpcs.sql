-- The music price points with most subscriptions (R65).
-- Grain: one row per CPC, at most $top, most subscriptions first. Reads: subscriptions. Writes: nothing.
-- Params: $cpcs (the music CPCs), $top. Re-run: read only.
SELECT
    cpc,
    count(*) AS subscriptions
FROM (SELECT unnest(list_intersect(cpc_list, $cpcs::BIGINT [])) AS cpc FROM subscriptions) AS music
GROUP BY cpc
ORDER BY subscriptions DESC, cpc
LIMIT $top
