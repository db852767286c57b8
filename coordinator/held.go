package coordinator

// Lease is who may write a volume, as its lease says. It is for show: what the rules go by is Sight and Holder.
type Lease struct {
	Host      string // that holds it, in the words of its volume driver; empty: none does
	Epoch     uint64 // of the lease; 0: the volume was never held
	State     string // as the volume driver names it; empty: never held
	Unguarded bool   // nothing on the host stops its containers when it is cut off
	Size      int64  // how large the volume may become, in bytes; 0: without a limit of its own, or not known
	Error     string // why it could not be read; the rest says nothing then
}
