package projections

// CleanJSON is tested by itself: what it lets through, Postgres must take.
func CleanJSON(data []byte) ([]byte, bool) { return cleanJSON(data) }
