-- The subscriptions that ever had a price point of music (R65), as people open them: the list of CPCs is a text.
-- Grain: one row per subscription, by id; all columns of the view. Reads: subscriptions. Writes: nothing.
-- Params: $cpcs (the music CPCs). Re-run: read only.
SELECT * REPLACE (array_to_string(cpc_list, ',') AS cpc_list)
FROM subscriptions
WHERE list_has_any(cpc_list, $cpcs::BIGINT [])
ORDER BY subscription_id
