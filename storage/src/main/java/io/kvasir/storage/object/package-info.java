/** Values: what identifies an object, a shard, a slot; no behavior beyond their own. */
package io.kvasir.storage.object;
