use ct_merkle::mem_backed_tree::MemoryBackedTree;

use super::*;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn leaf(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// A tree kept as rows keep it: per leaf its hash and the interior nodes it completed.
#[derive(Default)]
struct Rows {
    frontier: Frontier,
    rows: Vec<(Hash, Vec<Hash>)>,
}

impl Rows {
    fn new(size: u64) -> Self {
        let mut rows = Self::default();
        for index in 0..size {
            rows.push(leaf_hash(&leaf(index)));
        }
        rows
    }

    fn push(&mut self, hash: Hash) {
        let completed = self.frontier.push(hash);
        self.rows.push((hash, completed));
    }

    fn node(&self, node: Node) -> Hash {
        let (leaf, completed) = &self.rows[usize::try_from(node.row()).unwrap()];
        if node.level == 0 { *leaf } else { completed[node.level as usize - 1] }
    }

    fn nodes(&self, ranges: &[Range<u64>]) -> Nodes {
        ranges.iter().flat_map(cover).map(|node| (node, self.node(node))).collect()
    }

    fn hashes(&self, ranges: &[Range<u64>]) -> Vec<Hash> {
        let nodes = self.nodes(ranges);
        ranges.iter().map(|range| range_hash(range, &nodes).unwrap()).collect()
    }

    fn root(&self, size: u64) -> Hash {
        if size == 0 {
            empty_root()
        } else {
            range_hash(&(0..size), &self.nodes(std::slice::from_ref(&(0..size)))).unwrap()
        }
    }
}

fn oracle(size: u64) -> Oracle {
    let mut tree = Oracle::new();
    for index in 0..size {
        tree.push(leaf(index));
    }
    tree
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn roots_agree_with_a_reference_tree() {
    let mut rows = Rows::default();
    let mut tree = Oracle::new();
    for size in 0..400_u64 {
        assert_eq!(&rows.frontier.root().0[..], tree.root().as_bytes().as_slice(), "size {size}");
        assert_eq!(rows.frontier.root(), rows.root(size));
        let resumed = Frontier::resume(size, &rows.nodes(std::slice::from_ref(&(0..size)))).unwrap();
        assert_eq!(resumed, rows.frontier);
        rows.push(leaf_hash(&leaf(size)));
        tree.push(leaf(size));
    }
}

#[test]
fn an_append_touches_one_row_and_proofs_read_few() {
    let rows = Rows::new(1000);
    for (index, (_, completed)) in rows.rows.iter().enumerate() {
        assert_eq!(completed.len(), (index + 1).trailing_zeros() as usize);
    }
    for index in 0..1000 {
        let reads: usize = inclusion(index, 1000).unwrap().iter().map(|range| cover(range).len()).sum();
        assert!(reads <= 2 * 10, "{reads} rows for leaf {index}");
    }
}

#[test]
fn inclusion_proofs_agree_with_a_reference_tree() {
    for size in [1_u64, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 257] {
        let (rows, tree) = (Rows::new(size), oracle(size));
        for index in 0..size {
            let proof = rows.hashes(&inclusion(index, size).unwrap());
            let reference = tree.prove_inclusion(usize::try_from(index).unwrap());
            assert_eq!(concat(&proof), reference.as_bytes(), "leaf {index} of {size}");
            let (hash, root) = (leaf_hash(&leaf(index)), rows.root(size));
            assert!(verify_inclusion(&hash, index, size, &proof, &root));
            assert!(!verify_inclusion(&leaf_hash(b"other"), index, size, &proof, &root));
            assert!(!verify_inclusion(&hash, index + 1, size, &proof, &root));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!verify_inclusion(&hash, index, size, shorter, &root));
            }
        }
        assert_eq!(inclusion(size, size), None);
    }
}

#[test]
fn consistency_proofs_agree_with_a_reference_tree() {
    for new in 1..80_u64 {
        let (rows, tree) = (Rows::new(new), oracle(new));
        for old in 1..=new {
            let proof = rows.hashes(&consistency(old, new).unwrap());
            let (old_root, new_root) = (rows.root(old), rows.root(new));
            if old < new {
                let reference = tree.prove_consistency(usize::try_from(new - old).unwrap());
                assert_eq!(concat(&proof), reference.as_bytes(), "{old} in {new}");
                assert!(!verify_consistency(old, &leaf_hash(b"x"), new, &new_root, &proof));
                assert!(!verify_consistency(old, &old_root, new, &leaf_hash(b"x"), &proof));
            }
            assert!(verify_consistency(old, &old_root, new, &new_root, &proof), "{old} in {new}");
        }
        assert!(verify_consistency(0, &empty_root(), new, &rows.root(new), &[]));
        assert_eq!(consistency(new + 1, new), None);
    }
}

fn walk(rows: &Rows, from: u64, size: u64) -> Walk {
    let left = rows.hashes(&Walk::left(from, size));
    Walk::begin(from, size, rows.root(size), left).unwrap()
}

#[test]
fn a_walk_accepts_every_leaf_from_anywhere_and_carries_one_hash_a_leaf() {
    for size in (0..70).chain([127, 128, 129, 255]) {
        let rows = Rows::new(size);
        for from in 0..=size {
            let mut walk = walk(&rows, from, size);
            let mut carried = 0;
            for index in from..size {
                assert_eq!(walk.next(), Some(index));
                let right = rows.hashes(&walk.right());
                carried += right.len() as u64;
                assert!(walk.step(&leaf_hash(&leaf(index)), &right), "leaf {index} of {from}..{size}");
            }
            assert_eq!(walk.next(), None);
            assert!(walk.right().is_empty());
            assert!(!walk.step(&leaf_hash(b"more"), &[]));
            assert!(from > 0 || carried == size.saturating_sub(1));
        }
    }
}

#[test]
fn a_walk_stops_at_the_first_leaf_that_is_not_the_trees() {
    for size in [1_u64, 2, 3, 7, 8, 13, 64, 100] {
        let rows = Rows::new(size);
        for wrong in 0..size {
            // Somebody replaced a leaf and recomputed every hash that an export carries.
            let mut forged = Rows::default();
            for index in 0..size {
                let data = if index == wrong { b"forged".to_vec() } else { leaf(index) };
                forged.push(leaf_hash(&data));
            }
            let mut walk = walk(&rows, 0, size);
            for index in 0..=wrong {
                let hash = if index == wrong { leaf_hash(b"forged") } else { leaf_hash(&leaf(index)) };
                let right = walk.right();
                assert!(walk.step(&hash, &rows.hashes(&right)) == (index < wrong), "{index} of {size}, {wrong} forged");
                if index == wrong {
                    assert!(!walk.step(&hash, &forged.hashes(&right)));
                }
            }
        }
    }
}

#[test]
fn a_walk_refuses_parts_that_do_not_fit() {
    let rows = Rows::new(10);
    assert!(Walk::begin(11, 10, rows.root(10), Vec::new()).is_none());
    assert!(Walk::begin(3, 10, rows.root(10), Vec::new()).is_none());
    assert!(Walk::begin(0, 0, rows.root(10), Vec::new()).is_none());
    let mut left = rows.hashes(&Walk::left(3, 10));
    left.reverse();
    let mut walk = Walk::begin(3, 10, rows.root(10), left).unwrap();
    let right = rows.hashes(&walk.right());
    assert!(!walk.step(&leaf_hash(&leaf(3)), &right));
    // sizes from a hostile header cost no more than their logarithm
    let mut huge = Walk::begin(0, u64::MAX, Hash([0; 32]), Vec::new()).unwrap();
    assert_eq!(huge.right().len(), 64);
    assert!(!huge.step(&Hash([1; 32]), &[Hash([2; 32]); 64]));
}
