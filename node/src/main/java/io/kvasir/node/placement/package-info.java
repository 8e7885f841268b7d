/** Where copies of an object live in a cluster: rules without state, clock or network. */
package io.kvasir.node.placement;
