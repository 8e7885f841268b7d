/** The peer link over Aeron: moves the bytes of objects between nodes. Knows no tiers and no engines. */
package io.kvasir.transport;
