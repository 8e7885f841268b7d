/**
 * Where KV chunks live on one machine: arenas, slots, index, tiers, eviction, integrity. Knows no network.
 *
 * <p>{@link io.kvasir.storage.StoreAgent} joins the parts and runs them; one thread owns it. Others reach it through its
 * three faces: {@link io.kvasir.storage.EngineStore} for engines, {@link io.kvasir.storage.PeerStore} for other nodes,
 * {@link io.kvasir.storage.AdminStore} for operators.
 */
package io.kvasir.storage;
