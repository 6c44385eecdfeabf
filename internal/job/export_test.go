package job

// Measured counts the hosts of which the last usage is remembered.
func (e *Engine) Measured() int { return len(e.used) }
