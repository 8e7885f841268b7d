/** Other nodes as a tier: what lookups know of them and how objects come from there. The node implements the way. */
package io.kvasir.storage.tier.remote;
