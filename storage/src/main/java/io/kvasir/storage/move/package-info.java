/** Copies of objects between tiers: one queue, a budget of bytes in flight for each device and link. Knows no tier. */
package io.kvasir.storage.move;
