/**
 * {@code kvasir simulate}: replays a trace through the node's own eviction, placement and directory code, with a clock and
 * a network that are simulated and slots that have no bytes. The rules are the node's; when they are asked differs where
 * docs/simulate.md says so.
 *
 * <p>Read in this order: {@link io.kvasir.ops.simulate.Trace}, {@link io.kvasir.ops.simulate.SimulatedNode},
 * {@link io.kvasir.ops.simulate.SimulatedCluster}, {@link io.kvasir.ops.simulate.SimulateCommand}.
 */
package io.kvasir.ops.simulate;
