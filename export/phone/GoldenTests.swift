import MediaPipeTasksVision
import UIKit
import XCTest

@testable import YourApp  // The name of your app's module.

private struct Golden: Decodable {
  struct Expected: Decodable {
    let tolerance: Float
    let scores: [[Float]]
  }
  let images: [String]
  let models: [String: Expected]
}

/// Each model gives on this phone, for each test picture, the scores of golden.json.
final class GoldenTests: XCTestCase {
  func testScoresAreTheExpectedOnes() throws {
    let url = try XCTUnwrap(Bundle.main.url(forResource: "golden", withExtension: "json"))
    let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: url))
    let card = try Card.read()
    for (model, expected) in golden.models {
      let classifier = try ImageClassifier(
        options: classifierOptions(model: model, mode: .image))
      for (name, row) in zip(golden.images, expected.scores) {
        let path = try XCTUnwrap(Bundle.main.path(forResource: name, ofType: nil))
        let image = try MPImage(uiImage: XCTUnwrap(UIImage(contentsOfFile: path)))
        let scores = card.scores(try classifier.classify(image: image))
        XCTAssertEqual(scores.count, row.count)
        for (score, wanted) in zip(scores, row) {
          XCTAssertEqual(score, wanted, accuracy: expected.tolerance, "\(model), \(name)")
        }
      }
    }
  }
}
