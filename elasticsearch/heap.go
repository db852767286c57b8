package elasticsearch

import (
	"errors"
	"fmt"
	"strings"
)

// maxHeapMB keeps the heap below the size at which the JVM gives up compressed pointers.
const maxHeapMB = 31 << 10

// CheckHeap refuses a heap that does not fit. Elasticsearch needs at least as much memory again outside of its heap, for the
// file system's cache, for buffers and threads; a container over its memory is killed.
func CheckHeap(heapMB, memoryMB int64) error {
	switch {
	case heapMB <= 0:
		return fmt.Errorf("heap of %d MB: use at least 1 MB, in practice 128 MB or more", heapMB)
	case heapMB >= maxHeapMB:
		return fmt.Errorf("heap of %d MB: use less than %d MB, more would make every pointer twice as large", heapMB, maxHeapMB)
	case heapMB*2 > memoryMB:
		return fmt.Errorf("heap of %d MB does not fit into %d MB of memory: use at most half of it, %d MB", heapMB, memoryMB, memoryMB/2)
	}
	return nil
}

// CheckJavaOptions refuses options that would break the file of [JVMOptions] or the heap written there.
func CheckJavaOptions(options []string) error {
	var errs []error
	for _, o := range options {
		switch {
		case !strings.HasPrefix(o, "-") || strings.ContainsAny(o, "\r\n"):
			errs = append(errs, fmt.Errorf("option %q for Java: give one option that begins with '-', as in -XX:+UseSerialGC", o))
		case strings.HasPrefix(o, "-Xms") || strings.HasPrefix(o, "-Xmx"):
			errs = append(errs, fmt.Errorf("option %q for Java: set the heap's size instead, it gives both -Xms and -Xmx", o))
		}
	}
	return errors.Join(errs...)
}

// JVMOptions renders jvm.options.d/mooring.options. Least and largest heap are equal, as Elasticsearch's bootstrap checks ask.
func JVMOptions(heapMB int64, options []string) []byte {
	return fmt.Appendf(nil, "%s\n-Xms%dm\n-Xmx%dm\n%s", Header, heapMB, heapMB, lines(options))
}
