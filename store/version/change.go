package version

// A Change is what a write does to one object.
type Change interface {
	// Apply changes o, which has no siblings where the key is absent, in place
	// and reports whether it did. It is called once, under the key's lock. The
	// payloads in o must not be written to.
	Apply(o *Object) bool
	// Blind says that the write may go ahead without what is stored. It is asked
	// only where that cannot be read; Apply then gets an object without siblings.
	Blind() bool
}
