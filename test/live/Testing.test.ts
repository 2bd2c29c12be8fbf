/** Tests of BPF programs run unchanged on the kernel of the machine. */
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { describeWith } from "../support/Require.ts"
import { testing } from "../support/TestingSuite.ts"

describeWith({ kind: "live" }, "tests on the running kernel", () => testing(KernelLive.layer))
