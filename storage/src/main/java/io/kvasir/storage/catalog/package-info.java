/** What the node remembers beside the objects themselves: namespaces, pins, and objects that are gone. */
package io.kvasir.storage.catalog;
