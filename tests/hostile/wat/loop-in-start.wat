;; Never comes back from its start function, which runs while it is instantiated, before anything is called.
(module
  (memory (export "memory") 2)
  (start $spin)
  (func $spin (loop $again (br $again)))
  (global $heap (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
  (func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32) (unreachable)))
