/** The node's only answer to "where is this object?": one table off the heap, sized at start. */
package io.kvasir.storage.index;
