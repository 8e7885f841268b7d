/** What the store asks of a place that holds objects, whichever it is. A tier more is one more implementation in the store's list. */
package io.kvasir.storage.tier;
