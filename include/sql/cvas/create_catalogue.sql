-- What the view says about a price point. Grain: one row per cpc.
-- Reads: nothing. Writes: catalogue, a table of this engine alone.
-- Params: $cpcs, $services, $categories, $users, lists of one length. Re-run: once per engine.
CREATE TABLE catalogue AS
SELECT
    unnest($cpcs::BIGINT []) AS cpc,
    unnest($services::VARCHAR []) AS service_name,
    unnest($categories::VARCHAR []) AS tme_category,
    unnest($users::BIGINT []) AS user_base
