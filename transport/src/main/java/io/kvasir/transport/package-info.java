/**
 * The peer link over Aeron: moves the bytes of objects between nodes. Knows no tiers and no engines.
 *
 * <p>{@link io.kvasir.transport.PeerLink} is the way in. Where bytes come from and where they go is told through
 * {@link io.kvasir.transport.ObjectSource} and {@link io.kvasir.transport.ObjectSink}.
 */
package io.kvasir.transport;
