//! The embedded networks, all the way: ONNX bytes, compiled, keys, an encrypted picture, the
//! answer, beside the plain network with its exact ReLUs and beside the simulation.

use std::sync::Arc;

use fhec_compiler::build;
use fhec_compiler::data::Dataset;
use fhec_compiler::embedded::Example;
use fhec_compiler::program::{argmax, image_shape, reference_logits};
use fhec_compiler::simulator::Simulator;
use fhec_ir::program::{Interface, Program};
use fhec_passes::options::CompileOptions;
use fhec_roles::{Answer, Client, Server, context};

/// A run with the logits of the plain network and of the simulated program.
struct Run {
    program: Arc<Program>,
    answer: Answer,
    plain: Vec<f64>,
    simulated: Vec<f64>,
}

impl Run {
    fn of(example: Example, security: u32) -> Self {
        let network = example.network();
        let level = security.try_into().expect("a level of the table");
        let request = CompileOptions { security: Some(level), ..CompileOptions::default() }.into();
        let program = build::embedded(network, &request).expect("the embedded network compiles").program;
        assert!(program.plan.security_bits >= security);
        // What is run is what was written: by the client its own part of it, by the server another.
        let read = Program::from_bytes(&program.to_bytes(), security).expect("the program can be read");
        assert_eq!(read, *program);
        let of_client = program.interface.to_bytes();
        eprintln!("{} bytes for a client, {} in all", of_client.len(), program.to_bytes().len());
        assert!(of_client.len() < 64 << 10, "{} bytes for a client", of_client.len());
        let interface = Interface::from_bytes(&of_client, security).expect("the client can read it");
        assert_eq!(interface, program.interface);
        let of_server = read.without_reference().to_bytes();
        let of_server = Program::from_bytes(&of_server, security).expect("the server can read it");
        assert!(of_server.reference.is_none() && of_server.reference().is_err());

        let shape = image_shape(&interface).expect("an image goes in");
        let picture = Dataset::from_bytes(network.picture.to_vec(), network.picture_name, shape);
        let image = picture.expect("it is there").input(0, &interface.preprocess).expect("it fits");
        let plain = reference_logits(&program, &image).expect("the plain network runs");
        let simulated = Simulator::new(&program, false).logits(&image, 1).expect("it simulates");

        let interface = Arc::new(interface);
        let client_context = context(&interface).expect("the parameters can be used");
        let client = Client::generate(&interface, &client_context).expect("there is randomness");
        let server_context = context(&of_server.interface).expect("the parameters can be used");
        let server = Server::new(&Arc::new(of_server), &server_context).expect("it can be prepared");
        let keys = client.evaluation_keys().expect("keys are made");
        let session = server.session(keys).expect("the keys are enough");
        let encrypted = client.encrypt(&image).expect("it encrypts");
        let answer = session.evaluate(encrypted).expect("it evaluates");
        let answer = client.decrypt(&answer).expect("it decrypts");
        Run { program, answer, plain, simulated }
    }

    /// Largest difference between encrypted logits and `other`.
    fn difference(&self, other: &[f64]) -> f64 {
        self.answer.logits().iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

#[test]
fn a_digit_through_a_network_with_real_relus_at_128_bits() {
    let run = Run::of(Example::Mnist, 128);
    // Bootstraps in the smaller ring are faster than a chain for both ReLUs.
    assert_eq!((run.program.plan.log_n, run.program.plan.bootstraps), (15, 3));
    assert!(!run.answer.overflow);
    assert_eq!((argmax(run.answer.logits()), argmax(&run.plain)), (7, 7));
    // The polynomial ReLU is good to 2^-13 of the range; noise is what the plan says, some 2^-9.
    let certain = run.program.interface.certain_step();
    assert!(certain < 0.3, "{certain}");
    assert!(run.difference(&run.plain) < certain, "{}", run.difference(&run.plain));
    assert!(run.difference(&run.simulated) < certain, "{}", run.difference(&run.simulated));
    assert!(run.answer.imaginary_residue < certain, "{}", run.answer.imaginary_residue);
    assert!(run.answer.spare_residue < certain, "{}", run.answer.spare_residue);
}

#[test]
fn a_picture_through_resnet_20_with_bootstraps() {
    let run = Run::of(Example::Resnet20, 98);
    assert!(run.program.plan.bootstraps >= 9, "{}", run.program.plan.bootstraps);
    assert!(run.program.plan.log2_failure_probability.is_some_and(|log2| log2 < -40.0));
    assert!(!run.answer.overflow);
    assert_eq!(argmax(run.answer.logits()), argmax(&run.plain));
    assert_eq!(run.program.interface.class_name(argmax(run.answer.logits())), "bird");
    // The network's logits are at most about 8; fitted ReLUs move them by 0.02 on average, at most
    // 0.4 on 5,000 images.
    assert!(run.difference(&run.plain) < 0.4, "{}", run.difference(&run.plain));
    // Two draws of the noise of 18 bootstraps of 2^-16 each, through the layers after them: 2^-9 of
    // the logits' range of 16.
    assert!(run.difference(&run.simulated) < 16.0 / 512.0, "{}", run.difference(&run.simulated));
    assert!(run.answer.spare_residue < 1.0 / 128.0, "{}", run.answer.spare_residue);
}
