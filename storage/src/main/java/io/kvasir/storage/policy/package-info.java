/** Eviction policies: small, separate, replaceable. */
package io.kvasir.storage.policy;
