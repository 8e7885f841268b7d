package io.kvasir.ops;

import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.syntax.ArchRuleDefinition;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;
import java.util.Set;

/**
 * Dependencies point down: ops, node, then storage and transport, which do not see each other. Inside a module no packages
 * depend on each other in a circle, nor do the classes of the peer link and of the cluster.
 */
@AnalyzeClasses(packages = "io.kvasir", importOptions = ImportOption.DoNotIncludeTests.class)
class ModulesTest {
    @ArchTest
    static final ArchRule DEPENDENCIES_POINT_DOWN = layeredArchitecture()
            .consideringOnlyDependenciesInAnyPackage("io.kvasir..")
            .layer("ops")
            .definedBy("io.kvasir.ops..")
            .layer("node")
            .definedBy("io.kvasir.node..")
            .optionalLayer("transport")
            .definedBy("io.kvasir.transport..")
            .layer("storage")
            .definedBy("io.kvasir.storage..")
            .whereLayer("ops")
            .mayNotBeAccessedByAnyLayer()
            .whereLayer("node")
            .mayOnlyBeAccessedByLayers("ops")
            .whereLayer("transport")
            .mayOnlyBeAccessedByLayers("node", "ops")
            .whereLayer("storage")
            .mayOnlyBeAccessedByLayers("node", "ops");

    @ArchTest
    static final ArchRule NO_PACKAGES_FORM_A_CIRCLE =
            slices().matching("io.kvasir.(**)").should().beFreeOfCycles();

    /** What is under way refers to its link and is referred to from there; that is data and does nothing. */
    private static final Set<String> UNDER_WAY = Set.of(
            "Link",
            "InboundObject",
            "InboundTransfer",
            "OutStream",
            "OutboundObject",
            "OutboundTransfer",
            "Pull",
            "Push");

    @ArchTest
    static final ArchRule NO_CLASSES_OF_THE_LINK_FORM_A_CIRCLE = slices().assignedFrom(
                    new Classes("io.kvasir.transport", UNDER_WAY))
            .should()
            .beFreeOfCycles();

    @ArchTest
    static final ArchRule NO_CLASSES_OF_THE_CLUSTER_FORM_A_CIRCLE = slices().assignedFrom(
                    new Classes("io.kvasir.node.cluster", Set.of()))
            .should()
            .beFreeOfCycles();

    /** Each class of a package, with those inside it, is a slice. */
    private record Classes(String inPackage, Set<String> without) implements SliceAssignment {
        @Override
        public SliceIdentifier getIdentifierOf(final JavaClass javaClass) {
            if (!javaClass.getPackageName().equals(inPackage)) {
                return SliceIdentifier.ignore();
            }
            JavaClass outer = javaClass;
            while (outer.getEnclosingClass().isPresent()) {
                outer = outer.getEnclosingClass().get();
            }
            final String name = outer.getSimpleName();
            return without.contains(name) ? SliceIdentifier.ignore() : SliceIdentifier.of(name);
        }

        @Override
        public String getDescription() {
            return "classes of " + inPackage;
        }
    }

    @ArchTest
    static final ArchRule STORAGE_KNOWS_NO_NETWORK = ArchRuleDefinition.noClasses()
            .that()
            .resideInAPackage("io.kvasir.storage..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("java.net.http..", "io.aeron..", "com.google.protobuf..", "com.sun.net.httpserver..");

    @ArchTest
    static final ArchRule THE_WIRE_FORMAT_STAYS_IN_THE_ENGINE_SERVER = ArchRuleDefinition.noClasses()
            .that()
            .resideOutsideOfPackage("io.kvasir.node.engine..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("io.kvasir.node.engine.v1..");

    @ArchTest
    static final ArchRule THE_LINKS_MESSAGES_STAY_IN_TRANSPORT = ArchRuleDefinition.noClasses()
            .that()
            .resideOutsideOfPackage("io.kvasir.transport..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("io.kvasir.transport.wire..");

    @ArchTest
    static final ArchRule THE_NODE_KNOWS_NO_AERON = ArchRuleDefinition.noClasses()
            .that()
            .resideInAPackage("io.kvasir.node..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("io.aeron..");
}
