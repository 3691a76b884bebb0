-- Grain: one row per accepted row of the sheet that the months do not hold yet. Reads: nothing. Writes: spots.
-- Params: positional, in the order of the columns; the first 29 are the contract's.
-- Re-run: safe through the comparison by row hash before it.
INSERT INTO spots (
    bill_code, air_date, end_date, day_of_week, time_in, time_out, length_seconds, media, comments,
    language_code, format, sequence_number, line_number, spot_type, estimate, gross_rate,
    make_good, spot_value, broadcast_month, broker_fees, priority, station_net, sales_person,
    revenue_type, billing_type, agency_flag, affidavit_flag, contract, market_name, customer_id,
    agency_id, market_id, load_date, source_file, effective_date, is_historical, import_batch_id,
    row_hash
)
VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?
)
