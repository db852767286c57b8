// Package chaos plays every fault at every step of a volume's life, on real Docker and the real kernel: two hosts share a
// store, one of them is hit while volumes of it stand in the middle of each step, and the other one wants all of them.
//
// A round is one fault for one target. Its volumes are brought to their steps one by one and held there, by the operation on
// the store that the step consists of (package faultfs); then the fault falls on all of them at once. `make chaos` plays all
// rounds, the tests of a change some; MOORING_CHAOS_SEED repeats a run's choices.
package chaos
