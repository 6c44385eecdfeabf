package sigv4

import "sync"

// Keys remembers signing keys, which a client uses for a day: deriving one
// costs four times the work of checking with it. The zero value is ready; a
// nil one remembers nothing.
type Keys struct {
	mu sync.Mutex // guards m
	m  map[keyOf][]byte
}

// maxKeys bounds Keys. Sessions and days pass, so it is emptied now and then.
const maxKeys = 1024

type keyOf struct{ secret, date, region, service string }

func (k *Keys) get(of keyOf) []byte {
	if k != nil {
		k.mu.Lock()
		key, ok := k.m[of]
		k.mu.Unlock()
		if ok {
			return key
		}
	}
	return signingKey(of.secret, of.date, of.region, of.service)
}

// put keeps a key that a good signature was made with.
func (k *Keys) put(of keyOf, key []byte) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.m[of]; ok {
		return
	}
	if k.m == nil || len(k.m) >= maxKeys {
		k.m = make(map[keyOf][]byte)
	}
	k.m[of] = key
}
