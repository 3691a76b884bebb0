-- Creates the indexes the update and the reports rely on.
-- Reads: nothing. Writes: schema only. Params: none. Re-run: safe.

CREATE INDEX IF NOT EXISTS idx_spots_broadcast_month ON spots (broadcast_month);
CREATE INDEX IF NOT EXISTS idx_spots_month_historical ON spots (broadcast_month, is_historical);
CREATE INDEX IF NOT EXISTS idx_spots_month_sales_person ON spots (broadcast_month, sales_person);
CREATE INDEX IF NOT EXISTS idx_spots_air_date ON spots (air_date);
CREATE INDEX IF NOT EXISTS idx_spots_customer ON spots (customer_id);
CREATE INDEX IF NOT EXISTS idx_spots_sales_person ON spots (sales_person);
CREATE INDEX IF NOT EXISTS idx_spots_import_batch ON spots (import_batch_id);
CREATE INDEX IF NOT EXISTS idx_spots_month_market_revenue ON spots (broadcast_month, market_id, revenue_type)
WHERE revenue_type <> 'Trade' OR revenue_type IS NULL;
CREATE INDEX IF NOT EXISTS idx_spots_customer_date_revenue ON spots (customer_id, air_date, revenue_type);
CREATE INDEX IF NOT EXISTS idx_spots_category ON spots (spot_category) WHERE spot_category IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_spots_market_window ON spots (market_id, day_of_week, time_in, time_out);

CREATE INDEX IF NOT EXISTS idx_import_batches_date ON import_batches (import_date);
CREATE INDEX IF NOT EXISTS idx_import_batches_mode ON import_batches (import_mode);
CREATE INDEX IF NOT EXISTS idx_import_batches_status ON import_batches (status);
CREATE INDEX IF NOT EXISTS idx_import_rejects_batch ON import_rejects (batch_id);

CREATE INDEX IF NOT EXISTS idx_spot_language_assignments_review ON spot_language_assignments (spot_id)
WHERE requires_review = 1;
