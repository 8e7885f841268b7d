/** How a lookup is planned: from where its objects are, what its KV groups need, and what it may lease. No I/O. */
package io.kvasir.storage.lookup;
