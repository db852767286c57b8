//go:build race

package lease_test

// raceDetector makes histories about twenty times slower.
const raceDetector = true
