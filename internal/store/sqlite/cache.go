package sqlite

import (
	"hash/maphash"
	"sync"

	"clary/internal/resource"
)

// cache keeps records as they were committed last, and knows of some keys that
// there is no record. One process has the database and one goroutine of it
// writes, so what is here is never older than what a reader would find: the
// writer drops a record before the transaction that changes it commits, and
// lets nobody put it back until that is over.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 16
	cacheBytes  = 8 << 20  // of all shards
	cacheRecord = 64 << 10 // larger ones are not kept
	cacheSlot   = 512      // what a record costs beside spec and status
)

// cacheShard has two generations: a record that is asked for moves to the
// young one, and when that has half the room the old one goes.
type cacheShard struct {
	mu         sync.Mutex // guards what follows
	young, old map[resource.Key]*resource.Record
	bytes      int    // of young
	changes    uint64 // grows whenever a transaction over this shard ended
	changing   int    // transactions that are about to commit
}

// ticket is what a reader found when it asked in vain.
type ticket struct {
	shard   *cacheShard
	changes uint64
}

func newCache() *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].young = make(map[resource.Key]*resource.Record)
	}
	return c
}

func (c *cache) shard(k resource.Key) *cacheShard {
	return &c.shards[maphash.String(c.seed, k.Name)%cacheShards]
}

// get gives the record, nil for one that is known not to exist, and whether it
// knows at all. The ticket serves offer.
func (c *cache) get(k resource.Key) (r *resource.Record, known bool, t ticket) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	t = ticket{s, s.changes}
	if r, known = s.young[k]; known {
		return r, true, t
	}
	if r, known = s.old[k]; known {
		s.put(k, r)
	}
	return r, known, t
}

// offer keeps what a reader found in the database, unless a transaction began
// to commit since it asked.
func (c *cache) offer(k resource.Key, r *resource.Record, t ticket) {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	if t.shard.changing == 0 && t.shard.changes == t.changes {
		t.shard.put(k, r)
	}
}

// touch is what a transaction did to a record: r is how it left it, nil for
// none, unless only the database knows.
type touch struct {
	r     *resource.Record
	known bool
}

// change drops the records that a transaction is about to change.
func (c *cache) change(keys map[resource.Key]touch) {
	for k := range keys {
		s := c.shard(k)
		s.mu.Lock()
		s.drop(k)
		s.changing++
		s.mu.Unlock()
	}
}

// changed ends what change began. After a commit the records are as keys has
// them.
func (c *cache) changed(keys map[resource.Key]touch, committed bool) {
	for k, t := range keys {
		s := c.shard(k)
		s.mu.Lock()
		s.changing--
		s.changes++
		if committed && t.known {
			s.put(k, t.r)
		}
		s.mu.Unlock()
	}
}

func size(k resource.Key, r *resource.Record) int {
	n := cacheSlot + len(k.Name)
	if r != nil {
		n += len(r.Spec) + len(r.Status) + len(r.LastError)
	}
	return n
}

func (s *cacheShard) drop(k resource.Key) {
	if r, ok := s.young[k]; ok {
		s.bytes -= size(k, r)
		delete(s.young, k)
	}
	delete(s.old, k)
}

func (s *cacheShard) put(k resource.Key, r *resource.Record) {
	s.drop(k)
	n := size(k, r)
	if n > cacheRecord {
		return
	}
	if s.bytes+n > cacheBytes/cacheShards/2 {
		s.old, s.young, s.bytes = s.young, make(map[resource.Key]*resource.Record), 0
	}
	s.bytes += n
	s.young[k] = r
}
