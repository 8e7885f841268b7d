/**
 * What the store asks of a place that holds objects, whichever it is. Another tier is one more implementation in the
 * store's list.
 */
package io.kvasir.storage.tier;
