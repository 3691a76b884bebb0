-- Grain: one row, a market that the sheet names for the first time; returns its id. Reads: nothing. Writes: markets.
-- Params: :code, :name. Re-run: fails, code and name are unique; whoever runs it has looked for both.
INSERT INTO markets (market_code, market_name)
VALUES (:code, :name)
RETURNING market_id
