import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { describeWith } from "../support/Require.ts"
import { suite } from "../support/UserRingSuite.ts"

describeWith({ kind: "live" }, "a producer of a user ring buffer on the live kernel", () => suite(KernelLive.make))
