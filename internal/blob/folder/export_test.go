package folder

// Settle waits until every file that is no longer needed is gone.
func (s *Store) Settle() { s.content.remover.idle() }
