/**
 * Where KV chunks live on one machine: arenas, slots, index, tiers, eviction, integrity. Knows no network.
 *
 * <p>{@link io.kvasir.storage.ObjectStore} is the only door: one thread owns it and calls everything on it.
 */
package io.kvasir.storage;
