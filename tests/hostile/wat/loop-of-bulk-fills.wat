;; Spends its time in instructions that each do much work, between which there is little to interrupt.
(module
  (memory (export "memory") 512)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
  (func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32)
    (loop $again
      (memory.fill (i32.const 1048576) (i32.const 7) (i32.const 31457280))
      (br $again))
    (unreachable)))
